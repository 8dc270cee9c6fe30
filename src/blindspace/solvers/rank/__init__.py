"""How well the rank of a map is known: certificates, and the algorithms that prove ranks."""
