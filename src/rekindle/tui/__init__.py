"""`rekindle top`: jobs, failures and runners live in the terminal; reruns and undo from the keyboard."""
