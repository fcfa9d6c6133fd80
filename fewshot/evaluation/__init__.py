"""What is built out of whole runs."""
