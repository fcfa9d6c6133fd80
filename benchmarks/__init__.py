"""How fast fewshot is, measured beside everything that a user might pick instead: ``make bench``."""
