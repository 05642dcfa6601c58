//! No WebRTC: what a host other than a browser has until there is a native implementation.
//!
//! The types have no values, so everything above compiles and nothing of it can run.

use std::{future::Ready, rc::Weak};

use crate::Stats;

use super::{ChannelEvents, ChannelState, ConnectionEvents, Description, IceServer, RtcError};

pub(crate) enum Connection {}

impl Connection {
    pub(crate) fn new(_: &[IceServer], _: Weak<dyn ConnectionEvents>) -> Result<Self, RtcError> {
        Err(RtcError::Unsupported)
    }

    pub(crate) fn create_offer(&self) -> Ready<Result<String, RtcError>> {
        match *self {}
    }

    pub(crate) fn create_answer(&self) -> Ready<Result<String, RtcError>> {
        match *self {}
    }

    pub(crate) fn set_local_description(&self, _: Description, _: &str) -> Ready<Result<(), RtcError>> {
        match *self {}
    }

    pub(crate) fn set_remote_description(&self, _: Description, _: &str) -> Ready<Result<(), RtcError>> {
        match *self {}
    }

    pub(crate) fn add_candidate(&self, _: &str) -> Ready<Result<(), RtcError>> {
        match *self {}
    }

    pub(crate) fn local_description(&self) -> Option<String> {
        match *self {}
    }

    pub(crate) fn create_channel(&self, _: &str) -> Result<RawChannel, RtcError> {
        match *self {}
    }

    pub(crate) fn create_negotiated_channel(&self, _: u16) -> Result<RawChannel, RtcError> {
        match *self {}
    }

    pub(crate) fn counters(&self) -> Counters {
        match *self {}
    }

    pub(crate) fn close(&self) {
        match *self {}
    }
}

/// Has a value for the compiler's sake; nobody can get one.
pub(crate) struct Counters(());

impl Counters {
    pub(crate) fn read(&self) -> Ready<Result<Stats, RtcError>> {
        std::future::ready(Err(RtcError::Unsupported))
    }
}

pub(crate) enum RawChannel {}

impl RawChannel {
    pub(crate) fn label(&self) -> String {
        match *self {}
    }

    pub(crate) fn attach(self, _: usize, _: Weak<dyn ChannelEvents>) -> Channel {
        match self {}
    }

    pub(crate) fn close(self) {
        match self {}
    }
}

pub(crate) enum Channel {}

impl Channel {
    pub(crate) fn state(&self) -> ChannelState {
        match *self {}
    }

    pub(crate) fn send(&self, _: &[u8]) -> Result<(), RtcError> {
        match *self {}
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        match *self {}
    }

    pub(crate) fn close(&self) {
        match *self {}
    }
}
