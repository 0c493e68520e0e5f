"""How comparisons are shown: one method a file. What acts by itself rests on `always_valid`, not on these."""
