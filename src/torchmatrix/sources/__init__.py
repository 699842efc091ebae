"""Where artifacts come from: named sources, mirrors, stand-ins, pip's own configuration, hashes and sizes."""
