"""What authors of plugins test with: contract suites, fakes, a simulated network and network namespaces."""
