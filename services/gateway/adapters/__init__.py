"""The world outside, behind ports."""
