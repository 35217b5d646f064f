"""The pages that a browser opens: talk to models, look into them, watch runs. All of it offline."""
