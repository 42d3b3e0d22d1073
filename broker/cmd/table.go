package cmd

// commands is the table of the program, in the order in which they are listed.
func commands() []command {
	return []command{
		{name: "serve", args: "[flags]", summary: "Run the server", text: serveText, run: serve},
		{name: "demo", args: "[flags]", summary: "Try it out: a server with two users, for pasting commands into other terminals", text: demoText, run: demo},
		{name: "chat", args: "-as USER | -user USER [flags]", summary: "Chat in the terminal", text: chatText, run: chat},
		userCommand(),
		deviceCommand(),
		roomCommand(),
		tokenCommand(),
		reportCommand(),
		limitsCommand(),
		holdCommand(),
		auditCommand(),
		channelCommand(),
		broadcastCommand(),
		appCommand(),
		pushCommand(),
		{name: "status", args: "[flags]", summary: "Tell how the server is", run: status},
		{name: "erase", args: "USER -yes | -undo", summary: "Remove a user and everything it wrote", text: eraseText, run: erase},
		{name: "export", args: "USER [-o FILE]", summary: "Write an archive of what a user sees of its data", text: exportText, run: export},
		{name: "backup", args: "DIR [flags]", summary: "Copy the data of a server, running or not", text: backupText, run: backup},
		{name: "restore", args: "BACKUP -data DIR [flags]", summary: "Make a data directory from a backup", text: restoreText, run: restore},
		{name: "check", args: "[flags]", summary: "Verify the data of a server that is not running", text: checkText, run: check},
		{name: "seed", args: "-users N -password P [flags]", summary: "Fill a data directory with a population for tests", text: seedText, run: seed},
		pushsimCommand(),
		{name: "version", summary: "Print the version", run: version},
	}
}
