"""What we believe of the world."""
