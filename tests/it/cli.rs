//! The command line without any engine: help, files, refusals.

use crate::env::TestEnv;

#[test]
fn help_of_every_command() {
    let env = TestEnv::new();
    let root = env.pipe(["--help"]).success().stdout().to_owned();
    let commands = root
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|command| command != "help");
    let mut all = root.clone();
    for command in commands {
        let help = env.pipe([command.as_str(), "--help"]).success().stdout().to_owned();
        all += &format!("\n=== pipe {command}\n{help}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn every_problem_of_every_file_at_once_and_nothing_touched() {
    let env = TestEnv::new();
    env.fake("podman", "exit 99");
    env.write(
        "clusters/dev.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Cluster\nname: dev\nprovider: kind\n\
         profile: mine\nhostPort: auto\nnodes:\n\
         - {name: core, controlPlane: true, labels: {kubernetes.io/arch: arm64}}\n\
         - {name: core, taints: [gpu=yes]}\n",
    );
    env.write(
        "profiles/mine.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: mine\ncomponents:\n\
         - {name: natz, namespace: messaging}\n",
    );
    let stderr = env.pipe(["up", "dev"]).code(3).stderr().to_owned();
    insta::assert_snapshot!(stderr);
    assert!(env.calls().is_empty(), "podman was called: {:?}", env.calls());
}

#[test]
fn forbidden_images_are_refused_before_anything_is_asked() {
    let env = TestEnv::new();
    env.fake("podman", "exit 99");
    let vault = "registry.corp:5000/mirror/hashicorp/vault:1.2";
    for command in ["add", "load"] {
        let run = env.pipe(["images", command, "nats:2", vault, "kibana"]).code(7);
        insta::assert_snapshot!("forbidden_images_asked_for", run.stderr());
    }
    assert!(env.calls().is_empty(), "podman was called: {:?}", env.calls());
}

#[test]
fn an_unknown_cluster_names_the_known_ones() {
    let env = TestEnv::new();
    let stderr = env.pipe(["up", "prod"]).code(3).stderr().to_owned();
    assert!(stderr.contains("prod") && stderr.contains("dev") && stderr.contains("pipe init"));
}

#[test]
fn a_cluster_name_that_is_no_dns_label_is_usage() {
    let env = TestEnv::new();
    let stderr = env.pipe(["up", "My_Cluster"]).code(2).stderr().to_owned();
    assert!(stderr.contains("My_Cluster"), "{stderr}");
}

#[test]
fn an_engine_that_does_not_answer_is_exit_4_with_a_remedy() {
    let mut env = TestEnv::new();
    env.set("PIPE_ENGINE", "unix:///nowhere/podman.sock");
    let stderr = env.pipe(["up", "single"]).code(4).stderr().to_owned();
    assert!(stderr.contains("/nowhere/podman.sock") && stderr.contains("hint:"), "{stderr}");
    assert!(env.state_files().is_empty(), "{:?}", env.state_files());
}

#[test]
fn commands_about_a_cluster_that_is_not_there() {
    let env = TestEnv::new();
    for command in ["kubeconfig", "env", "smoke"] {
        let stderr = env.pipe([command, "dev"]).code(1).stderr().to_owned();
        assert!(stderr.contains("there is no cluster dev"), "{command}: {stderr}");
    }
    let stderr = env.pipe(["kubectl", "--", "get", "nodes"]).code(1).stderr().to_owned();
    assert!(stderr.contains("pipe up dev"), "{stderr}");
}

#[test]
fn json_errors_are_one_line_with_a_code() {
    let env = TestEnv::new();
    let result = env.pipe(["up", "prod", "--json"]).code(3).last_json();
    assert_eq!(result["type"], "result");
    assert_eq!(result["schema"], 1);
    assert_eq!(result["ok"], false);
    assert_eq!(result["exit_code"], 3);
    assert!(result["error"]["hints"].as_array().is_some_and(|hints| !hints.is_empty()));
}

#[test]
fn init_writes_a_project_that_is_valid_and_leaves_files_alone() {
    let mut env = TestEnv::new();
    env.set("PIPE_ENGINE", "unix:///nowhere/podman.sock");
    env.write("mine/clusters/dev.yaml", "kind: Mine\n");
    let stdout = env.pipe(["init", "mine"]).success().stdout().to_owned();
    assert!(stdout.contains("kept     clusters/dev.yaml"), "{stdout}");
    assert!(stdout.contains("written  charts-cache/nats/Chart.yaml"), "{stdout}");
    let text = std::fs::read_to_string(env.path("work/mine/clusters/dev.yaml")).unwrap();
    assert_eq!(text, "kind: Mine\n");
    // The rest of what was written is what the binary carries.
    let stderr = env.pipe(["--dir", "mine", "up", "single"]).code(4).stderr().to_owned();
    assert!(stderr.contains("/nowhere/podman.sock"), "{stderr}");
}

#[test]
fn init_writes_a_config_of_this_machine_only_when_asked_and_once() {
    let env = TestEnv::new();
    let path = env.path("home/.config/pipe/config.yaml");
    env.pipe(["init", "mine"]).success();
    assert!(!path.exists());
    let stdout = env.pipe(["init", "--config"]).success().stdout().to_owned();
    assert_eq!(stdout, "written  [root]/home/.config/pipe/config.yaml\n");
    std::fs::write(&path, "# mine\n").unwrap();
    let stdout = env.pipe(["init", "--config"]).success().stdout().to_owned();
    assert_eq!(stdout, "kept     [root]/home/.config/pipe/config.yaml\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    env.pipe(["init", "--config", "elsewhere"]).code(2);
}

#[test]
fn completion_for_every_shell() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = env.pipe(["completion", shell]).success().stdout().to_owned();
        assert!(script.contains("teardown"), "{shell}");
    }
}

#[test]
fn a_manual_page_for_every_command() {
    let env = TestEnv::new();
    let page = env.pipe(["man"]).success().stdout().to_owned();
    assert!(page.contains(".TH pipe 1") && page.contains("pipe\\-teardown(1)"), "{page}");
    let written = env.pipe(["man", "man1"]).success().stdout().to_owned();
    assert!(written.contains("written  pipe.1\n") && written.contains("pipe-up.1"), "{written}");
    assert!(!written.contains("help"), "{written}");
    let page = std::fs::read_to_string(env.path("work/man1/pipe-up.1")).unwrap();
    assert!(page.contains("\\-\\-replace"), "{page}");
}

#[test]
fn the_version_says_what_was_built() {
    let version = TestEnv::new().pipe(["--version"]).success().stdout().to_owned();
    assert_eq!(version, "pipe [version] (built by hand)\n");
}
