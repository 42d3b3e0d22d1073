package cmd

// commands is the table of the program, in the order in which they are listed.
func commands() []command {
	return []command{
		{name: "serve", args: "[flags]", summary: "Run the server", text: serveText, run: serve},
		{name: "demo", args: "[flags]", summary: "Try it out: a server with two users, for pasting commands into other terminals", text: demoText, run: demo},
		{name: "chat", args: "-as USER | -user USER [flags]", summary: "Chat in the terminal", text: chatText, run: chat},
		{name: "version", summary: "Print the version", run: version},
	}
}
