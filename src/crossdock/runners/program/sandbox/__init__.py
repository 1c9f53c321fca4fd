"""Running programs nobody trusts: boxes in tiers, from namespaces with a cgroup down to plain resource limits."""
