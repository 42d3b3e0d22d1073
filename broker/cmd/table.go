package cmd

// commands is the table of the program, in the order in which they are listed.
func commands() []command {
	return []command{
		{name: "serve", args: "[flags]", summary: "Run the server", text: serveText, run: serve},
		{name: "demo", args: "[flags]", summary: "Try it out: a server with two users, for pasting commands into other terminals", text: demoText, run: demo},
		{name: "version", summary: "Print the version", run: version},
	}
}
