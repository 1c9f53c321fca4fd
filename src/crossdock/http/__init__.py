"""What every HTTP door shares: problem documents, body limits, strict JSON, API keys and the server itself."""
