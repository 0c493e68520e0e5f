"""How Trimtab runs: on one machine (`local`), as the demo, in containers."""
