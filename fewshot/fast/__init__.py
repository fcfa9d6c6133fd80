"""What exists for speed alone: written-out derivatives, recorded steps, memory.

Nobody has to read it to understand a learner.
"""
