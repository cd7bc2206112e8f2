"""What a user can ask for: each module is one command, with its options and what it prints."""
