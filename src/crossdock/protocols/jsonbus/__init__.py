"""json-bus: requests, jobs and their answers over RabbitMQ."""
