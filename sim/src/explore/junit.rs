//! The results of a campaign as CI systems read them: a test case for each group of failures.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::row::Severity;
use super::summary::Summary;

/// A JUnit report without times and hosts, so that the same campaign is the same text. `replay`
/// gives the command that shows a group's smallest run again.
///
/// # Errors
/// It cannot be written as XML.
pub fn junit(
    summary: &Summary,
    replay: &dyn Fn(&str) -> String,
) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new("campaign");
    let mut all = TestCase::new(format!("{} runs", summary.runs), TestCaseStatus::success());
    all.set_classname("cutline");
    suite.add_test_case(all);
    for group in summary.groups.values() {
        let kind = match group.severity {
            Severity::Internal => NonSuccessKind::Error,
            Severity::Ok | Severity::Inconclusive | Severity::Liveness | Severity::Safety => {
                NonSuccessKind::Failure
            }
        };
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(group.signature.clone()).set_message(group.message.clone());
        status.set_description(format!(
            "{} runs; seed {} and {:?}\nreplay: {}",
            group.count,
            group.seed,
            group.more,
            replay(&group.signature)
        ));
        let mut case = TestCase::new(group.signature.clone(), status);
        case.set_classname("cutline");
        suite.add_test_case(case);
    }
    let mut report = Report::new("cutline");
    report.add_test_suite(suite);
    report.to_string()
}
