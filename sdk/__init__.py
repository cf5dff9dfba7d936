"""What guests are written with, and the built guests of the quickstart."""
