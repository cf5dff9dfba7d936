"""HTTP in front of the plugins: data plane, management API, state stores."""
