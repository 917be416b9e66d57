"""What the file of a site's thresholds is called."""

SITE = "site_thresholds.json"  # in the folder of a run
