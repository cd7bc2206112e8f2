"""The figures of a run as pictures, tables and a page; no figure is computed here."""
