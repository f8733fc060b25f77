"""Tests of the image for containers: `make oci-test`."""
