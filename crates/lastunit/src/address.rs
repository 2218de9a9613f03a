//! Where an order goes.

use serde::{Deserialize, Serialize};

use crate::text::check_field;

/// A postal address with a receiver. [`Address::validate`] before it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Who receives it.
    pub receiver: String,
    /// Street and number.
    pub line1: String,
    /// Flat, floor, care of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    /// Town or city.
    pub city: String,
    /// State, province, county.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Postal code.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2 code in capitals.
    pub country: String,
    /// A telephone number: digits, spaces and `+()-./`.
    pub phone: String,
}

impl Address {
    /// A valid address for examples and tests.
    pub fn example() -> Self {
        Self {
            receiver: "Ada Lovelace".into(),
            line1: "1 High Street".into(),
            line2: None,
            city: "Leeds".into(),
            region: None,
            postal_code: "LS1 1AA".into(),
            country: "GB".into(),
            phone: "+44 113 496 0000".into(),
        }
    }

    /// Checks every field; the error names the first that is wrong and says what it must be.
    pub fn validate(&self) -> Result<(), String> {
        check_field("receiver", &self.receiver, 1, 100, false)?;
        check_field("line1", &self.line1, 1, 200, false)?;
        check_field("line2", self.line2.as_deref().unwrap_or(""), 0, 200, false)?;
        check_field("city", &self.city, 1, 100, false)?;
        check_field("region", self.region.as_deref().unwrap_or(""), 0, 100, false)?;
        check_field("postal_code", &self.postal_code, 1, 20, false)?;
        if !is_country(&self.country) {
            return Err("`country` must be an ISO 3166-1 code of two capital letters, such as GB".into());
        }
        check_field("phone", &self.phone, 3, 32, false)?;
        if !self.phone.chars().all(|c| c.is_ascii_digit() || " +()-./".contains(c)) {
            return Err("`phone` must consist of digits, spaces and +()-./".into());
        }
        Ok(())
    }
}

/// ISO 3166-1 alpha-2, as officially assigned (249 codes).
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO \
    BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG \
    EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID \
    IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA \
    MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA \
    PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST \
    SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE \
    YT ZA ZM ZW";

fn is_country(code: &str) -> bool {
    // Each is two letters and a space.
    code.len() == 2 && COUNTRIES.as_bytes().chunks(3).any(|known| known.starts_with(code.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_checked_and_named() {
        assert_eq!(Address::example().validate(), Ok(()));
        let wrong = |change: fn(&mut Address), field: &str| {
            let mut address = Address::example();
            change(&mut address);
            let error = address.validate().unwrap_err();
            assert!(error.contains(field), "{error}");
        };
        wrong(|a| a.receiver = " ".into(), "receiver");
        wrong(|a| a.line1 = "x".repeat(201), "line1");
        wrong(|a| a.city = "a\0".into(), "city");
        wrong(|a| a.country = "gb".into(), "country");
        wrong(|a| a.country = "XX".into(), "country");
        wrong(|a| a.phone = "call me".into(), "phone");
    }
}
