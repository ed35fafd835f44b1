//! Inputs of the JSON operations, member by member, with errors that name the member.

use crate::error::ApiError;
use crate::rules::stream;
use serde_json::{Map, Value};

/// A JSON object whose members are read by name.
pub(crate) struct Input(Map<String, Value>);

impl Input {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(serialization("The body is no JSON object.")),
            Err(error) => Err(serialization(&format!("The body is no JSON: {error}"))),
        }
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.member(name)
            .map(|value| value.as_str().ok_or_else(|| serialization(&format!("{name} must be a string."))))
            .transpose()
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| ApiError::invalid(format!("{name} is missing.")))
    }

    /// An integer within `min..=max`.
    pub(crate) fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.member(name) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(|| serialization(&format!("{name} must be an integer.")))?;
        match u64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::invalid(format!("{name} is {number}; {min} to {max} are taken."))),
        }
    }

    /// Epoch seconds with a fraction, as milliseconds.
    pub(crate) fn time_ms(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.member(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..1e12).contains(seconds));
        let seconds =
            seconds.ok_or_else(|| ApiError::invalid(format!("{name} must be seconds since 1970.")))?;
        Ok(Some((seconds * 1000.0).round() as u64))
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Input>, ApiError> {
        match self.member(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Input(members.clone()))),
            Some(_) => Err(serialization(&format!("{name} must be an object."))),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, ApiError> {
        let Some(value) = self.member(name) else { return Ok(None) };
        let wrong = || serialization(&format!("{name} must be a list of strings."));
        let items = value.as_array().ok_or_else(wrong)?;
        items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn text_map(&self, name: &str) -> Result<Option<Vec<(&str, &str)>>, ApiError> {
        let Some(value) = self.member(name) else { return Ok(None) };
        let wrong = || serialization(&format!("{name} must map strings to strings."));
        let members = value.as_object().ok_or_else(wrong)?;
        let pair =
            |(key, value)| Value::as_str(value).map(|value| (String::as_str(key), value)).ok_or_else(wrong);
        members.iter().map(pair).collect::<Result<_, _>>().map(Some)
    }

    /// The stream that StreamName or StreamARN means, unchecked; for faults and rates.
    pub(crate) fn any_stream_name(&self) -> Option<String> {
        let text = |name| self.member(name).and_then(Value::as_str);
        text("StreamName").or_else(|| text("StreamARN").and_then(stream::arn_name)).map(str::to_owned)
    }

    /// The stream that exactly one of StreamName and StreamARN means.
    pub(crate) fn stream(&self) -> Result<StreamRef, ApiError> {
        StreamRef::new(self.text("StreamName")?, self.text("StreamARN")?)
    }
}

impl Input {
    /// The stream of the tag operations, which have a word of their own for a malformed ARN.
    pub(crate) fn resource(&self) -> Result<StreamRef, ApiError> {
        match (self.text("StreamName")?, self.text("StreamARN")?) {
            (None, Some(arn)) if stream::arn_name(arn).is_none() => {
                let message = format!("StreamARN {arn:?} is not a stream's ARN.");
                let kind = "InvalidResourceFormatException";
                Err(ApiError::new(http::StatusCode::BAD_REQUEST, kind, message))
            }
            (name, arn) => StreamRef::new(name, arn),
        }
    }
}

/// A stream by name, and by ARN if that was given.
pub(crate) struct StreamRef {
    pub(crate) name: String,
    pub(crate) arn: Option<String>,
}

impl StreamRef {
    pub(crate) fn new(name: Option<&str>, arn: Option<&str>) -> Result<Self, ApiError> {
        match (name, arn) {
            (Some(name), None) if stream::is_stream_name(name) => {
                Ok(Self { name: name.to_owned(), arn: None })
            }
            (Some(name), None) => {
                Err(ApiError::invalid(format!("StreamName {name:?} does not match [a-zA-Z0-9_.-]{{1,256}}.")))
            }
            (None, Some(arn)) => match stream::arn_name(arn) {
                Some(name) => Ok(Self { name: name.to_owned(), arn: Some(arn.to_owned()) }),
                None => Err(ApiError::invalid(format!("StreamARN {arn:?} is not a stream's ARN."))),
            },
            (Some(_), Some(_)) => Err(ApiError::invalid("Give StreamName or StreamARN, not both.")),
            (None, None) => Err(ApiError::invalid("Give StreamName or StreamARN.")),
        }
    }
}

fn serialization(message: &str) -> ApiError {
    ApiError::new(http::StatusCode::BAD_REQUEST, "SerializationException", message)
}
