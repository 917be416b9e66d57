"""The name of the file with a site's thresholds."""

SITE = "site_thresholds.json"  # in the folder of a run
