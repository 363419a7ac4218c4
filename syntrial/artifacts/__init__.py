"""The artifact store: keys, manifests, and the places where artifacts lie."""
