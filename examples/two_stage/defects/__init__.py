"""Artificial defects: those that training pastes, and others that held-out images get."""
