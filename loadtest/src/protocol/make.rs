//! Makes the codec of a connection.

use super::{Call, Caller, Codec, Fault, Protocol, Ticket, http1, http2, memcached, resp};
use crate::protocol::Answers;

/// A connection's codec.
pub fn codec(protocol: Protocol, caller: &Caller) -> Box<dyn Codec> {
    match protocol {
        Protocol::Http1 => Box::new(http1::Http1::new(caller)),
        Protocol::Floor => Box::new(http1::Http1::floor(&caller.host)),
        Protocol::Http2 => match http2::Http2::new(caller) {
            Ok(codec) => Box::new(codec),
            Err(fault) => Box::new(Broken(fault)),
        },
        Protocol::Resp => Box::new(resp::Resp::new(caller.credentials.clone(), caller.replicas)),
        Protocol::Memcached => Box::new(memcached::Memcached::default()),
    }
}

/// A connection that cannot be used from its begin.
struct Broken(Fault);

impl Codec for Broken {
    fn request(&mut self, _: Ticket, _: Call<'_>, _: &mut Vec<u8>) -> Result<(), Fault> {
        Err(self.0.clone())
    }

    fn receive(&mut self, _: &[u8], _: &mut Vec<u8>, _: &mut dyn Answers) -> Result<usize, Fault> {
        Err(self.0.clone())
    }
}
