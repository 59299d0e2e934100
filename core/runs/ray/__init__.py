"""Jobs on a Ray cluster: the engine that sends them, the cluster, and what runs on its machines."""
