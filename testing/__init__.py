"""Tools for those who test engines and filters against this project."""
