"""The inner door: sessions of one appliance's clients on another appliance's workers, from proxy to proxy."""
