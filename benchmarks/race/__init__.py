"""Minutes from an untrained network to an accuracy: fewshot's trainings, and those of other libraries' examples."""
