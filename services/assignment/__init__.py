"""Assignment: decides which variant a unit gets, and owns the life of every experiment.

Owns: experiments and their history, who serves as a model's champion, trial templates, the rule set, and
which variant each unit of a sticky experiment was given.
Reads: `verdicts` (metrics' advice), `models` (champions, challengers, quarantine).
Writes: `experiments`, `rollbacks`; `exposures` for those who ask over HTTP.
Falls back to: the last rule set while PostgreSQL is away, and control, unexposed, for sticky experiments;
control, unexposed, while the bus is away.
"""
