"""Numbers of nuclei from a teacher: to learn from where masks are missing, and to compare with."""
