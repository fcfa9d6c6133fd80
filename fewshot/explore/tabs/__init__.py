"""What the page shows: one file per tab, each a function from the page and what it shows to a panel."""
