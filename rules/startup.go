package rules

import (
	"path"
	"slices"
	"strings"
)

// startup reports whether a file is one that something runs, or takes in, when it
// starts up or at a set time: a shell, cron, systemd, a desktop, git, Python, the
// dynamic loader. By its path alone: where the file is really read is for the
// reader to say.
func startup(p string) bool {
	in := func(dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return strings.Contains(p, d) })
	}
	return slices.Contains(startupNames, path.Base(p)) ||
		strings.HasPrefix(p, "/etc/") || strings.HasPrefix(p, "/var/spool/cron/") || strings.HasPrefix(p, "/var/spool/at/") ||
		in("/systemd/") && !in("/systemd/transient/") || in("/autostart/", "/.git/hooks/", "/environment.d/", "/LaunchAgents/") ||
		strings.HasSuffix(p, ".pth") || in("/site-packages/sitecustomize", "/site-packages/usercustomize", "/dist-packages/sitecustomize")
}

var startupNames = []string{
	".bashrc", ".bash_profile", ".bash_login", ".bash_aliases", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin",
	".zlogout", ".kshrc", ".cshrc", ".tcshrc", ".login", "config.fish", ".xprofile", ".xinitrc", ".xsessionrc", ".pam_environment", ".vimrc",
}
