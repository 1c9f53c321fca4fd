"""Every way in and out, one folder each; none knows of another."""
