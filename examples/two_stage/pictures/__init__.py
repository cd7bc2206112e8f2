"""Picture files and the folders of categories, read and checked."""
