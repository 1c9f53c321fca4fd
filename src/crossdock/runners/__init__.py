"""What executes leases. Runners know no protocol and no broker."""
