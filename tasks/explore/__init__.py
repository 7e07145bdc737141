"""The explorer: a recording held in memory, and every image of it for any calibration."""
