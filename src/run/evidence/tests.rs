use std::sync::atomic::{AtomicUsize, Ordering};

use super::questions::split_logs;
use super::*;

#[test]
fn logs_of_pods_are_told_apart_by_their_mark() {
    let text = "\nM1 ./kube-system_dns-1_0000-11/coredns/0.log\nline one\nthe M1 is no mark\n\
                \nM1 ./kube-system_dns-1_0000-11/coredns/1.log\nline two\n";
    let files = split_logs(text, "M1");
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["kube-system_dns-1/coredns.0.log", "kube-system_dns-1/coredns.1.log"]);
    assert_eq!(files[0].1, b"line one\nthe M1 is no mark\n");
    assert!(split_logs("", "M1").is_empty());
}

/// The first says nothing until its deadline: by then all others have answered.
#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting() {
    struct Dropped<'a>(&'a AtomicUsize, &'a AtomicUsize);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.1.store(self.0.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }
    let (done, done_at_deadline) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut questions = vec![question("0", "a", async {
        let _guard = Dropped(&done, &done_at_deadline);
        std::future::pending().await
    })];
    for number in 1..20 {
        questions.push(question(format!("{number}"), "a", async {
            done.fetch_add(1, Ordering::SeqCst);
            Ok(Answer::Text("yes".to_owned()))
        }));
    }
    let each = Duration::from_millis(500);
    let limits = Limits { each, in_all: Duration::from_secs(60), at_once: 2 };
    let answers = ask_all(questions, Instant::now(), limits).await;
    assert_eq!(done_at_deadline.load(Ordering::SeqCst), 19);
    let order: Vec<&str> = answers.iter().map(|answered| answered.path.as_str()).collect();
    assert_eq!(order, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    let silent: Vec<&Answered> = answers.iter().filter(|a| a.answer.is_err()).collect();
    assert!(silent.len() == 1 && silent[0].path == "0");
    assert!(silent[0].answer.as_ref().err().unwrap().starts_with("no answer within"));
    let times = answers.into_iter().map(|answered| (answered.path, answered.took)).collect();
    let longest = longest(times);
    assert!(longest.len() == 3 && longest[0].0 == "0" && longest[0].1 >= each);
}

#[tokio::test]
async fn all_questions_together_have_a_deadline() {
    let silent = (0..4000).map(|number| {
        question(format!("{number}"), "a", std::future::pending::<Result<Answer, String>>())
    });
    let (each, in_all) = (Duration::from_millis(100), Duration::from_millis(300));
    let began = Instant::now();
    let limits = Limits { each, in_all, at_once: 8 };
    let answers = ask_all(silent.collect(), began, limits).await;
    // One after another they would take 50 s.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let why = answers[3999].answer.as_ref().err().unwrap();
    assert_eq!(why, "not asked any more: 300ms were over");
}

#[test]
fn items_hide_secrets_and_keep_their_end() {
    let secrets = Mask::default();
    secrets.add("hunter22");
    let long = format!("{}hunter22 abcdef.0123456789abcdef\n", "x".repeat(99).repeat(30_000));
    let lines = format!("first\n{long}");
    let items = items_of("a.txt", "a", Ok(Answer::Text(lines)), &secrets);
    let text = String::from_utf8(items[0].content.clone().unwrap()).unwrap();
    assert!(text.len() <= ITEM && items[0].cut > 0);
    assert!(text.ends_with("••• abcdef.•••\n"), "{}", text.len());
    let files = vec![("ns_pod_uid/c/0.log".to_owned(), b"hunter22".to_vec())];
    let items = items_of("pods", "logs", Ok(Answer::Files(files)), &secrets);
    assert_eq!(items[0].path, "pods/ns_pod/c.0.log");
    assert_eq!(items[0].content.as_deref(), Ok("•••".as_bytes()));
    let items = items_of("b", "b", Err("the password is hunter22".to_owned()), &secrets);
    assert_eq!(items[0].content.as_ref().unwrap_err(), "the password is •••");
}
