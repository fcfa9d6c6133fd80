"""How reliable: attacks on the real command line, thousands of them, none of which may lose or change anything.

``command`` starts it, ``runs`` knows where a run has to end, ``case`` is one attack with what it needs. Then a file per
kind of attack; ``__main__`` shares out the time and counts.
"""
