"""Texts and pictures of the documentation, written from results/*.json alone."""
