//! Trace context, from X-Ray's notation to W3C's.

use ingest::message::is_traceparent;

/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, as Lambda gives it to an invocation, as
/// a `traceparent`: the same ids, written otherwise.
pub fn from_xray(header: Option<&str>) -> Option<String> {
    let fields = header?.split(';').filter_map(|field| field.trim().split_once('='));
    let (mut trace, mut parent, mut flags) = (None, None, "00");
    for (name, value) in fields {
        match name {
            "Root" => trace = value.strip_prefix("1-").map(|root| root.replacen('-', "", 1)),
            "Parent" => parent = Some(value),
            "Sampled" if value == "1" => flags = "01",
            _ => {}
        }
    }
    Some(format!("00-{}-{}-{flags}", trace?, parent?)).filter(|text| is_traceparent(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocations_trace_keeps_its_ids_and_nonsense_is_none() {
        let lambda =
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a:0";
        assert_eq!(
            from_xray(Some(lambda)).as_deref(),
            Some("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")
        );
        let unsampled = lambda.replace("Sampled=1", "Sampled=0");
        assert!(from_xray(Some(&unsampled)).unwrap().ends_with("-00"));
        for nonsense in [None, Some(""), Some("Root=1-5759e988"), Some("Root=x;Parent=y;Sampled=1")] {
            assert_eq!(from_xray(nonsense), None, "{nonsense:?}");
        }
    }
}
