"""Figures, pages and images."""
