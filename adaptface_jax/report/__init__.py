"""The report for people: a page per run that stands alone (`results.html`), and a page over several runs."""
