"""The HTML report: a self-contained page per run (`results.html`), and a page that compares several runs."""
