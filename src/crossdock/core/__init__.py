"""What a job is and may do. Read jobs, lifecycle, requests, ports and broker, in that order."""
